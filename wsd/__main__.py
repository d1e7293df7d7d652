"""``python -m wsd``"""

import sys

from wsd.cli import main

sys.exit(main())
