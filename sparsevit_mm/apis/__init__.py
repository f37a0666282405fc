"""What the command-line tools do: one module a tool, with the tool's name."""
