"""The mock LLM: implements the Chat Completions protocol with fixed rules, for stacks without an API key."""
