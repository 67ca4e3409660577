# Serves bundles: docs/serve.md has the commands. 3.12 is the youngest Python that libpecos has packages for.
FROM python:3.12-slim

WORKDIR /app
COPY requirements.txt requirements-pecos.txt requirements-serve.txt ./
RUN pip install --no-cache-dir --no-deps --require-hashes \
    -r requirements.txt -r requirements-pecos.txt -r requirements-serve.txt
COPY src/disentangle ./disentangle
# A checkout's modes may be its owner's alone.
RUN chmod -R a+rX disentangle
# Kernels are compiled once; numba keeps them where a user without a home can write.
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/tmp/numba
# nobody, by number: a host can tell then that it is not root.
USER 65534:65534
EXPOSE 8000
HEALTHCHECK --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["python", "-m", "disentangle", "serve", "--host", "0.0.0.0"]
