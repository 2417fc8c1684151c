"""How the software gets onto machines."""
