# ea-app in a container: `docker build --target cpu .` or `--target cuda`; see docs/container.md.
#
# The versions are those of pyproject.toml: uv reads its constraints, as it does for `uv sync`.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheels
ARG UV=0.13.9
RUN pip install --no-cache-dir "uv==${UV}"
WORKDIR /source
COPY pyproject.toml ./
COPY packages packages
RUN for package in ea-kernels ea-vae ea-dit ea-data ea-app; do \
        uv build --quiet --wheel --package "$package" --out-dir /wheels || exit 1; \
    done

# PyTorch without CUDA: about a tenth of the size. With what makes control signals of videos.
FROM wheels AS cpu-environment
RUN uv venv --quiet /opt/ea \
    && uv pip install --quiet --no-cache --python /opt/ea/bin/python --torch-backend cpu /wheels/*.whl "ea-app[control]"

# PyTorch's usual wheels bring their CUDA libraries; the driver is that of the host.
FROM wheels AS cuda-environment
RUN uv venv --quiet /opt/ea \
    && uv pip install --quiet --no-cache --python /opt/ea/bin/python /wheels/*.whl "ea-app[control]"

FROM python:${PYTHON}-slim AS runtime
RUN useradd --uid 10001 --create-home --home-dir /data --shell /usr/sbin/nologin ea \
    && mkdir /models \
    && chown ea:ea /data
ENV PATH=/opt/ea/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/data \
    HF_HOME=/data/huggingface
WORKDIR /data
USER 10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["ea-app"]
# Needs EA_TOKEN in the environment: whoever reaches the port is asked for it.
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]

FROM runtime AS cuda
COPY --from=cuda-environment /opt/ea /opt/ea
USER 0
# Triton compiles its kernels when they are first used.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER 10001
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=cpu-environment /opt/ea /opt/ea
