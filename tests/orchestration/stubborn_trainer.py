"""A trainer that ignores SIGINT and SIGTERM and has a child that does the same; writes both pids to argv[1]."""

import os
import signal
import sys
import time
from pathlib import Path

for ignored in (signal.SIGINT, signal.SIGTERM):
    signal.signal(ignored, signal.SIG_IGN)
child = os.fork()
if child:
    pids = Path(sys.argv[1])
    pids.with_suffix(".part").write_text(f"{os.getpid()} {child}")
    os.rename(pids.with_suffix(".part"), pids)
    print("training", flush=True)
while True:
    time.sleep(60)
