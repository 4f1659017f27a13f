# docker build -t edgecompile . && docker run --rm --user "$(id -u)" -v "$PWD:/work" edgecompile --help
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY locks/core.txt locks/
RUN python -m venv /opt/edgecompile \
 && /opt/edgecompile/bin/pip install --no-cache-dir --no-deps --require-hashes -r locks/core.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY edgecompile edgecompile
COPY targets targets
COPY calibration_data calibration_data
RUN /opt/edgecompile/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm
COPY --from=build /opt/edgecompile /opt/edgecompile
RUN useradd --create-home --uid 1000 edgecompile
ENV PATH=/opt/edgecompile/bin:$PATH
USER 1000
WORKDIR /work
ENTRYPOINT ["edgecompile"]
