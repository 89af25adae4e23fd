"""A worker of `tallystick serve` by itself: ``launch.py CONFIG --port PORT``."""

import os
import sys
from pathlib import Path

import uvicorn

from tallystick.service.sources import gather_settings
from tallystick.service.worker import make_worker

config, _, port = sys.argv[1:]
settings, _ = gather_settings(Path(config), {}, {})
uvicorn.run(make_worker(settings, [os.environ["TALLYSTICK_SECRET"]]), port=int(port), log_level="warning")
