FROM python:3.12-slim AS build
WORKDIR /app
# What the processes import, and nothing of what only development and tests need.
COPY requirements-server.lock ./
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements-server.lock \
 && /venv/bin/pip uninstall -y pip

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 app && install -d -o app -m 0700 /data
WORKDIR /app
COPY --from=build /venv /venv
COPY open_responses open_responses
COPY workflows workflows
COPY activities activities
COPY api api
COPY processes processes
COPY worker.py ./
# Without these, each start of a process compiles all of the above: the user below may not write here.
RUN python -m compileall -q .
USER app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8080
# Docker kills ten seconds after its SIGTERM: until then answers may end, and streams that are left are resumed elsewhere.
# The command of a worker is `python worker.py`. On one small machine, `python -m open_responses serve` is both.
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8080", "--graceful-seconds", "8"]
