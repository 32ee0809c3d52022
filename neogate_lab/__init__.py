"""A Jupyter toolkit for NeoGate TG GSM gateways."""
