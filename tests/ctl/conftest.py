"""soloprintctl and the schema on a private Postgres."""

from __future__ import annotations

from private_pg import Ctl, Postgres, as_postgres, ctl, org, pg, template

__all__ = ["Ctl", "Postgres", "as_postgres", "ctl", "org", "pg", "template"]
