"""Which models exist, and what each adapter can translate."""
