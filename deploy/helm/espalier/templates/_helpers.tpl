{{- define "espalier.selector" -}}
app.kubernetes.io/name: espalier
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "espalier.labels" -}}
{{ include "espalier.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: espalier
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* (list . "serve") or (list . "train") → registry/espalier-serve:tag, or @sha256:… */}}
{{- define "espalier.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- $tag := include "espalier.tag" . -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ index $image (index . 1) }}{{ hasPrefix "sha256:" $tag | ternary "@" ":" }}{{ $tag }}
{{- end }}

{{/* A digest is one image's: with another's the pods could not be started, and only the kubelet would say so. */}}
{{- define "espalier.tag" -}}
{{- $root := index . 0 -}}
{{- $image := $root.Values.image -}}
{{- $common := $image.tag | default $root.Chart.AppVersion -}}
{{- $serve := $image.serveTag | default $common -}}
{{- $train := $image.trainTag | default $common -}}
{{- if and (hasPrefix "sha256:" $serve) (eq $serve $train) -}}
{{- fail (printf "%s is the digest of one image, and there are two: give image.serveTag and image.trainTag" $serve) -}}
{{- end -}}
{{- eq (index . 1) "serve" | ternary $serve $train -}}
{{- end }}

{{- define "espalier.settings" -}}
{{- $namespace := .Release.Namespace -}}
{{- $names := printf "%s,*.%s,*.%s.svc,*.svc.cluster.local" .Release.Name $namespace $namespace -}}
{{- $settings := merge (deepCopy .Values.settings) (dict "ESPALIER_ALLOWED_HOSTS" $names) -}}
{{- if eq .Values.mode "single-node" -}}
{{- $settings = omit $settings "ESPALIER_ARTIFACTS_URL" "AWS_REGION" -}}
{{- end -}}
{{- range $name, $value := $settings }}
{{- if not (kindIs "invalid" $value) }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Of everything that runs: nothing of it is root or writes beside its volumes (PodSecurity: restricted). */}}
{{- define "espalier.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "espalier.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "espalier.database" -}}
- name: ESPALIER_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: database-url
{{- end }}

{{- define "espalier.secrets" -}}
{{ include "espalier.database" . }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: aws-access-key-id
      optional: true
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: aws-secret-access-key
      optional: true
{{- end }}

{{/* Of the collector of traces. */}}
{{- define "espalier.collector" -}}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: otlp-headers
      optional: true
{{- end }}

{{/* A volume of files that settings name. */}}
{{- define "espalier.files" -}}
- name: files
  projected:
    sources:
      - secret: {name: {{ .Values.files }}, optional: true}
      - configMap: {name: {{ .Values.files }}, optional: true}
{{- end }}

{{- define "espalier.keys" -}}
- name: ESPALIER_ADMIN_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: admin-key
- name: ESPALIER_KEY_PEPPER
  valueFrom:
    secretKeyRef:
      name: {{ .Values.secret }}
      key: key-pepper
      optional: true
{{- end }}

{{- define "espalier.worker.liveness" -}}
livenessProbe:
  exec:
    command: [sh, -c, 'test -n "$(find /tmp -maxdepth 1 -type f -name "[0-9]*-[0-9]*" -mmin -1)"']
  initialDelaySeconds: 60
  periodSeconds: 30
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{/* (list . component) */}}
{{- define "espalier.spread" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "espalier.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $component }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* Nowhere but to names and these ports; without ports, nowhere. */}}
{{- define "espalier.egress" -}}
{{- $ports := .Values.networkPolicy.egressPorts -}}
{{- if and (kindIs "invalid" $ports) (eq .Values.mode "cluster") -}}
{{- $ports = list 5432 443 9000 -}}
{{- end -}}
{{- if $ports -}}
egress:
  - to:
      - namespaceSelector:
          matchLabels:
            kubernetes.io/metadata.name: kube-system
    ports:
      - port: 53
        protocol: UDP
      - port: 53
  - ports:
      {{- range $ports }}
      - port: {{ . }}
      {{- end }}
{{- else -}}
egress: []
{{- end }}
{{- end }}
