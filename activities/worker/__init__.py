"""The tasks of a worker process beside its activities: detection and takeover of dead workers, cancellations, outages
of Temporal, ended runs, and the providers' lists of models.

They are not in `open_responses/io`, because they act for one worker: the takeover completes activities, and the
detector postpones a takeover while Temporal does not answer.
"""
