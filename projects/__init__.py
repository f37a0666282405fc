"""Projects built on the package: a demo, a study, and the papers' tables."""
