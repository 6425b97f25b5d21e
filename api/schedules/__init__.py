"""`/v1/schedules`: requests that run at a time or on a cron expression."""
