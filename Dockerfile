# The version of Go in the build stage.
ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=devel
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_USER=docker
ARG BUILD_DATE=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w \
      -X github.com/prometheus/common/version.Version=$VERSION \
      -X github.com/prometheus/common/version.Revision=$REVISION \
      -X github.com/prometheus/common/version.Branch=$BRANCH \
      -X github.com/prometheus/common/version.BuildUser=$BUILD_USER \
      -X github.com/prometheus/common/version.BuildDate=$BUILD_DATE" \
      -o /css_vpcep_exporter .

FROM scratch
ARG VERSION=devel
ARG REVISION=unknown
ARG BUILD_DATE=unknown
LABEL org.opencontainers.image.title="css_vpcep_exporter" \
      org.opencontainers.image.description="Prometheus exporter for the VPC endpoint connections of Huawei Cloud CSS clusters" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$BUILD_DATE"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /css_vpcep_exporter /usr/local/bin/css_vpcep_exporter
WORKDIR /etc/css_vpcep_exporter
USER 65532:65532
EXPOSE 10247
ENTRYPOINT ["/usr/local/bin/css_vpcep_exporter"]
