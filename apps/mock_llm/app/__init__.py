"""The mock LLM: speaks Chat Completions and Responses by fixed rules, for stacks without an API key."""
