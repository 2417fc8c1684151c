"""From a stream connection to the FFmpeg that writes it: admission, arguments, supervisors."""
