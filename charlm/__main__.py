"""`python -m charlm` is `charlm`."""

import sys

from charlm.cli import main

sys.exit(main())
