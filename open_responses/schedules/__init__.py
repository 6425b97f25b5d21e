"""Schedules: requests that run at a time or on a cron expression. Their times and their payloads, apart from I/O."""
