"""Events on their way to EventBridge: the safe emitter, what runs after the response, the relay."""
