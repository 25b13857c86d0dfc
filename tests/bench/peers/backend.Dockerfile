# What most people write: the distribution's slim image, its Python and pip, the requirements, the source.
ARG ROOT_IMAGE
FROM ${ROOT_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=secret,id=ca_bundle,target=/run/ca.pem PIP_CERT=$([ -s /run/ca.pem ] && echo /run/ca.pem) \
    pip install --no-cache-dir --break-system-packages -r requirements.txt
COPY . .
USER 65532
CMD ["python3", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0"]
