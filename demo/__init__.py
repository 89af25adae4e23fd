"""The demo app: `make demo`. See README.md in this folder."""
