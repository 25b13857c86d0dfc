"""The rehearsal model: answers the Chat Completions protocol by rule, for runs without an API key."""
