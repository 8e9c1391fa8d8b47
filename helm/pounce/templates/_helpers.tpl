{{/* Name of the objects: that of the release, with the chart's name in it. */}}
{{- define "pounce.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "pounce" .Release.Name -}}
{{ .Release.Name | trunc 54 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-pounce" .Release.Name | trunc 54 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* What finds the pods. The namespace is the release's own: one release in each. */}}
{{- define "pounce.selector" -}}
app.kubernetes.io/name: pounce
app.kubernetes.io/component: server
{{- end }}

{{- define "pounce.common" -}}
app.kubernetes.io/name: pounce
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/part-of: pounce
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "pounce.labels" -}}
{{ include "pounce.common" . }}
app.kubernetes.io/component: server
{{- end }}

{{- define "pounce.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-slim" .Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{/* The variables: those of files/pounce.env, then what the values imply, then config. */}}
{{- define "pounce.config" -}}
{{- $config := dict -}}
{{- range splitList "\n" (.Files.Get "files/pounce.env") -}}
{{- $line := trim . -}}
{{- if and $line (not (hasPrefix "#" $line)) -}}
{{- $pair := splitn "=" 2 $line -}}
{{- $_ := set $config $pair._0 $pair._1 -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config "POUNCE_WORKERS" (toString .Values.workers) -}}
{{- if .Values.tls.secretName -}}
{{- $_ := set $config "POUNCE_TLS_CERT" "/etc/pounce/tls/tls.crt" -}}
{{- $_ := set $config "POUNCE_TLS_KEY" "/etc/pounce/tls/tls.key" -}}
{{- end -}}
{{- if .Values.tokens.secretName -}}
{{- $_ := set $config "POUNCE_TOKENS" "/etc/pounce/tokens/tokens" -}}
{{- end -}}
{{- mergeOverwrite $config .Values.config | toYaml -}}
{{- end }}

{{- define "pounce.alerts" -}}
{{ .Values.alerts | default (.Files.Get "files/alerts.toml") }}
{{- end }}

{{/* With TLS the kubelet can't ask over gRPC: it asks the HTTP port. */}}
{{- define "pounce.probe" -}}
{{- if .tls -}}
httpGet:
  path: {{ .path }}
  port: http
{{- else -}}
grpc:
  port: 50051
  service: {{ .service }}
{{- end -}}
{{- end }}
