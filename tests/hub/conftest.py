"""Hub and workers in one process (tests/support/parts.py)."""

from tests.support.parts import make_site, site

__all__ = ["make_site", "site"]
