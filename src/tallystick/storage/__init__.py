"""Where sessions live. ``interface`` is the contract, ``memory`` the reference; a driver knows only the interface."""
