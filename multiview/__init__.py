"""Any footage on one timeline."""
