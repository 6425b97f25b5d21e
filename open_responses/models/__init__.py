"""The models that this server offers, and the requests that each adapter can translate."""
