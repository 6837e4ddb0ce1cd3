# The images of all services: `docker build --target gateway .`, or `users`, or `products`. Each holds one static binary, the roots that TLS needs and nothing else: no shell,
# no package manager, nobody to become. docs/images.md has sizes and checks.

# To be reproducible to the byte, name it with its digest, --build-arg RUST_IMAGE=rust@sha256:…, and
# leave out what is measured: --build-arg PGO=no.
ARG RUST_IMAGE=rust:1.95.0-bookworm
# Whether the gateway is compiled by a profile of its use (docs/tuning.md): yes, no, or auto, which
# is yes unless the processor is emulated.
ARG PGO=auto

# ---------------------------------------------------------------------------------------------
FROM ${RUST_IMAGE} AS build
WORKDIR /src

# Static, with glibc and not with musl: the request path copies memory, and musl has no copies for
# wide registers. Names of the folders of this build stay out of the binaries.
ENV RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/src=. --remap-path-prefix=/usr/local/cargo=cargo"
# With a target of their own, the flags are not for build scripts and macros, which must be dynamic.
RUN printf '[build]\ntarget = "%s"\ntarget-dir = "/target"\n' "$(rustc -vV | sed -n 's/^host: //p')" \
    > "${CARGO_HOME:-/usr/local/cargo}/config.toml"
# Writes the list of dependencies into each binary, where scanners (Trivy, Grype, Syft) read it.
RUN RUSTFLAGS='' cargo install --locked --target-dir /tmp/tools cargo-auditable@0.7.7 && rm -rf /tmp/tools

# Dependencies alone, so that this layer is made anew only when one of these files changes.
COPY Cargo.toml Cargo.lock ./
COPY gateway/Cargo.toml gateway/
COPY gateway/core/Cargo.toml gateway/core/
COPY gateway/mesh/Cargo.toml gateway/mesh/
COPY users-svc/Cargo.toml users-svc/
COPY products-svc/Cargo.toml products-svc/
COPY bench/Cargo.toml bench/
RUN for crate in gateway gateway/core gateway/mesh users-svc products-svc bench; do \
        mkdir -p "$crate/src" && echo '//! Empty.' > "$crate/src/lib.rs" && \
        printf '//! Empty.\nfn main() {}\n' > "$crate/src/main.rs" || exit; \
    done && \
    cargo auditable build --locked --release -p gateway -p users-svc -p products-svc

COPY gateway gateway

# ---------------------------------------------------------------------------------------------
FROM build AS build-services
COPY users-svc users-svc
COPY products-svc products-svc
# Copied files may be older than what was built from the empty ones.
RUN find gateway users-svc products-svc -name '*.rs' -exec touch {} + && \
    cargo auditable build --locked --release -p users-svc -p products-svc && \
    mkdir /out && \
    for name in users-svc products-svc; do \
        install -m 0555 /target/*/release/"$name" /out/ && strip --strip-all /out/"$name" || exit; \
    done

# ---------------------------------------------------------------------------------------------
FROM build AS build-gateway
COPY bench bench
ARG PGO
ARG BUILDPLATFORM
ARG TARGETPLATFORM
RUN find gateway bench -name '*.rs' -exec touch {} + && mkdir /out && \
    case "$PGO" in \
        yes | no) ;; \
        auto) PGO=yes; [ "$BUILDPLATFORM" = "$TARGETPLATFORM" ] || PGO=no ;; \
        *) echo "PGO is yes, no or auto, not $PGO" >&2; exit 1 ;; \
    esac && \
    if [ "$PGO" = yes ]; then \
        echo 'Compiling the gateway by a profile of its use; --build-arg PGO=no is quicker.' && \
        { bench/pgo.sh --tool || rustup component add llvm-tools; } && \
        PGO_BUILD='cargo auditable build' bench/pgo.sh && \
        install -m 0555 target/pgo/gateway /out/; \
    else \
        cargo auditable build --locked --release -p gateway && \
        install -m 0555 /target/*/release/gateway /out/; \
    fi && \
    strip --strip-all /out/gateway

# ---------------------------------------------------------------------------------------------
FROM scratch AS base
COPY --from=build --chmod=0444 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A number, for there are no names: no /etc/passwd.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM base AS gateway
LABEL org.opencontainers.image.title="gateway" \
      org.opencontainers.image.description="API gateway and service mesh for Amazon ECS"
COPY --from=build-gateway /out/gateway /gateway
COPY --chmod=0444 copilot/gateway/routes.yaml /etc/gateway/routes.yaml
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/gateway", "healthcheck"]
ENTRYPOINT ["/gateway"]
CMD ["run", "--config", "/etc/gateway/routes.yaml"]

FROM base AS users
LABEL org.opencontainers.image.title="users" \
      org.opencontainers.image.description="The users service"
COPY --from=build-services /out/users-svc /users-svc
# Amazon RDS has authorities of its own, which are not among those above.
COPY --chmod=0444 users-svc/rds-global-bundle.pem /etc/ssl/rds-global-bundle.pem
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/users-svc", "healthcheck"]
ENTRYPOINT ["/users-svc"]

FROM base AS products
LABEL org.opencontainers.image.title="products" \
      org.opencontainers.image.description="The products service"
COPY --from=build-services /out/products-svc /products-svc
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/products-svc", "healthcheck"]
ENTRYPOINT ["/products-svc"]
