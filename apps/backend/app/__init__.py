"""Task assistant: a FastAPI backend whose chat manages tasks through MCP tools."""
