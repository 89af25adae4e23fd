"""Adapters to web frameworks. They translate and await; what is to be done is decided in ``transport``."""
