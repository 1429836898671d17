{{- define "cloister.selector" -}}
app.kubernetes.io/name: cloister
app.kubernetes.io/instance: {{ .Values.name | quote }}
{{- end -}}

{{- define "cloister.labels" -}}
{{ include "cloister.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .Values.kind }}
app.kubernetes.io/part-of: {{ .Values.federation | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "cloister.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "cloister.seccomp" -}}
{{- if .Values.sandbox.enabled -}}
type: Localhost
localhostProfile: {{ .Values.sandbox.seccompProfile }}
{{- else -}}
type: RuntimeDefault
{{- end -}}
{{- end -}}

{{- define "cloister.key" -}}
{{ . | replace "/" "." }}
{{- end -}}
