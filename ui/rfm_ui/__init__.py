"""The desktop viewer: `model` decides and knows no toolkit, `bridge` talks to the runtime, `view` is what Qt shows."""
