"""Run the core service: ``launch.py PORT DATABASE SETTINGS``, the last of them JSON."""

import json
import os
import sys

import uvicorn

from tallystick.service.app import CoreApp
from tallystick.service.settings import CoreSettings, parse_setting
from tallystick.storage.opening import open_async_store

port, database, given = sys.argv[1:]
settings = CoreSettings(**{name: parse_setting(name, value) for name, value in json.loads(given).items()})
app = CoreApp(open_async_store(database, migrate=True), settings, os.environ["TALLYSTICK_SECRET"])
uvicorn.run(app, port=int(port), log_level="warning", timeout_graceful_shutdown=10)
