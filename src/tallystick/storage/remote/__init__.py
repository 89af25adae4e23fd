"""A core that runs elsewhere, over HTTP (spec/cdi.md)."""
