from hypothesis import settings

# Same examples on every run; a busy machine is no failure.
settings.register_profile("tutti", deadline=None, derandomize=True)
settings.load_profile("tutti")
