"""`python -m service.cli`: the same as `espalier`, without warnings of libraries."""

import logging
import os

from service.cli import main

if __name__ == "__main__":
    logging.captureWarnings(True)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
