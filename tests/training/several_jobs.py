"""`accelerate launch several_jobs.py JOB…`: training jobs, one after the other, in processes that are started once."""

import sys
import threading
from pathlib import Path

from training import runner

sys.exit(max(runner.main(Path(job), threading.Event()) for job in sys.argv[1:]))
