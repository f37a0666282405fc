"""Other people's parameter layouts, and reading them into ours."""
