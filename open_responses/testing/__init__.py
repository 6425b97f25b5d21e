"""Test doubles and the contract test kit, for those who write adapters, tools and middlewares."""
