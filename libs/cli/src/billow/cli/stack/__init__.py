"""The whole system as processes of this machine."""
