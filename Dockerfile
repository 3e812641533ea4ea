# Builds the image from source. deploy/packages/Dockerfile is the one of releases.
#
#   REGISTRY   where the base image comes from, such as the address of a mirror
#   GO_IMAGE   the base image; a mirror that copied only one platform has another digest: then leave the digest out
#   GOPROXY    the module proxy, if Go's default cannot be reached
#   SOURCE, URL, DOCUMENTATION, VENDOR   for the labels of the same names
ARG REGISTRY=docker.io/library
ARG GO_IMAGE=golang:1.26.9-alpine@sha256:cdfd4fe2da6b225d8b40c6b7a105736e548e83ff56d5d8f9394446eeb5eb84e0

FROM --platform=$BUILDPLATFORM ${REGISTRY}/${GO_IMAGE} AS build
ARG GOPROXY
WORKDIR /src
COPY go.mod go.sum ./
# The release of Go is the one in the toolchain line of go.mod. If the image has another one, the go command downloads it.
RUN --mount=type=cache,target=/go/pkg/mod \
      export GOTOOLCHAIN=$(sed -n 's/^toolchain //p' go.mod) && go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_USER=docker
ARG BUILD_DATE=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
      export GOTOOLCHAIN=$(sed -n 's/^toolchain //p' go.mod) && \
      CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w \
      -X github.com/prometheus/common/version.Version=$VERSION \
      -X github.com/prometheus/common/version.Revision=$REVISION \
      -X github.com/prometheus/common/version.Branch=$BRANCH \
      -X github.com/prometheus/common/version.BuildUser=$BUILD_USER \
      -X github.com/prometheus/common/version.BuildDate=$BUILD_DATE" \
      -o /css_vpcep_exporter .

FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
ARG SOURCE=""
ARG URL=$SOURCE
ARG DOCUMENTATION=$SOURCE
ARG VENDOR=""
LABEL org.opencontainers.image.title="css_vpcep_exporter" \
      org.opencontainers.image.description="Prometheus exporter for the VPC endpoint connections of Huawei Cloud CSS clusters" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.url="$URL" \
      org.opencontainers.image.documentation="$DOCUMENTATION" \
      org.opencontainers.image.vendor="$VENDOR"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /src/NOTICE /NOTICE
COPY --from=build /css_vpcep_exporter /usr/local/bin/css_vpcep_exporter
WORKDIR /etc/css_vpcep_exporter
USER 65532:65532
EXPOSE 10247
ENTRYPOINT ["/usr/local/bin/css_vpcep_exporter"]
