{{/* Parts of pods that several kinds of workload share. */}}

{{/* Input: root, user (uid; that of our images if not given). */}}
{{- define "billow.podSecurity" -}}
{{- $user := .user | default .root.Values.security.user | int -}}
runAsNonRoot: true
runAsUser: {{ $user }}
runAsGroup: {{ $user }}
fsGroup: {{ $user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Input: root; own: whether it is an image of ours, which a development profile may change. */}}
{{- define "billow.containerSecurity" -}}
{{- $base := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- if .own }}{{ $base = mergeOverwrite $base (deepCopy .root.Values.security.container) }}{{ end -}}
{{- toYaml $base -}}
{{- end -}}

{{/* Node affinity and tolerations. Input: root, pool (name, may be empty), terms: further matchExpressions. */}}
{{- define "billow.placement" -}}
{{- $pool := dict -}}
{{- if .pool }}{{ $pool = index .root.Values.pools .pool }}{{ end -}}
{{- $terms := .terms | default list -}}
{{- with ($pool.label | default dict) -}}
  {{- if .key }}{{ $terms = append $terms (dict "key" .key "operator" "In" "values" .values) }}{{ end -}}
{{- end -}}
{{- if $terms }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            {{- toYaml $terms | nindent 12 }}
{{- end }}
{{- with $pool.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Input: root, component, spread. */}}
{{- define "billow.spread" -}}
{{- $constraints := list -}}
{{- $selector := dict "matchLabels" (include "billow.selector" (dict "root" .root "component" .component) | fromYaml) -}}
{{- /* Pods of the version that goes away do not count, or the new ones would gather where those are not. */ -}}
{{- $revision := list "pod-template-hash" -}}
{{- with .spread.hosts -}}
  {{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" . "labelSelector" $selector "matchLabelKeys" $revision) -}}
{{- end -}}
{{- with .spread.zones -}}
  {{- $constraints = append $constraints (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" . "labelSelector" $selector "matchLabelKeys" $revision) -}}
{{- end -}}
{{- with $constraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Startup, readiness and liveness of one of our processes. Input: root, config. */}}
{{- define "billow.probes" -}}
{{- $http := .config.http -}}
{{- $period := 3 -}}
startupProbe:
  {{- include "billow.readiness" . | nindent 2 }}
  periodSeconds: {{ $period }}
  timeoutSeconds: 5
  failureThreshold: {{ div (add (int .config.startupSeconds) 2) $period }}
readinessProbe:
  {{- include "billow.readiness" . | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  {{- if $http.port }}
  httpGet:
    path: {{ $http.livePath }}
    port: http
  {{- else }}
  # A thread of the process answers: it falls silent when the interpreter is held or the machine swaps.
  httpGet:
    path: /metrics
    port: metrics
  {{- end }}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end -}}

{{- define "billow.readiness" -}}
{{- if .config.http.port -}}
httpGet:
  path: {{ .config.http.readyPath }}
  port: http
{{- else -}}
# Written when the process takes work, removed when it stops.
exec:
  command: [test, -f, /run/billow/ready]
{{- end -}}
{{- end -}}

{{/* Volumes of one of our pods. Input: root, role, weights (without them a worker needs no cache, which not all machines have). */}}
{{- define "billow.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
- name: run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- if .root.Values.nats.ca.existingSecret }}
- name: ca
  secret:
    secretName: {{ .root.Values.nats.ca.existingSecret }}
{{- end }}
{{- if eq .role "worker" }}
{{- $cache := .root.Values.models.cache }}
- name: models
  {{- if not .weights }}
  emptyDir: {sizeLimit: {{ $cache.size }}}
  {{- else if eq $cache.kind "claim" }}
  persistentVolumeClaim:
    claimName: {{ $cache.existingClaim | default (printf "%s-models" (include "billow.fullname" .root)) }}
  {{- else if eq $cache.kind "hostPath" }}
  hostPath: {path: {{ $cache.hostPath }}, type: Directory}
  {{- else }}
  emptyDir: {sizeLimit: {{ $cache.size }}}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "billow.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: run, mountPath: /run/billow}
{{- if .root.Values.nats.ca.existingSecret }}
- {name: ca, mountPath: /etc/billow/ca, readOnly: true}
{{- end }}
{{- if eq .role "worker" }}
- {name: models, mountPath: {{ .root.Values.models.folder }}}
{{- end }}
{{- end -}}

{{/* Pulls the weights that are not in the cache. Input: root, item. */}}
{{- define "billow.puller" -}}
{{- $pull := .root.Values.models.pull -}}
{{- $tag := $pull.image.tag | default (include "billow.tag" .root) -}}
- name: weights
  image: {{ include "billow.image" (dict "root" .root "repository" $pull.image.repository "tag" $tag) | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: {{ append $pull.command (regexReplaceAll "_[0-9-]+$" .item.model "") | toJson }}
  env:
    - {name: BILLOW_MODEL_CACHE, value: {{ .root.Values.models.folder }}}
    - {name: HOME, value: /tmp}
    {{- range $key, $value := $pull.env }}
    - {name: {{ $key }}, value: {{ $value | quote }}}
    {{- end }}
  securityContext:
    {{- include "billow.containerSecurity" (dict "root" .root "own" true) | nindent 4 }}
  resources:
    {{- toYaml $pull.resources | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: models, mountPath: {{ .root.Values.models.folder }}}
{{- end -}}

{{/* The pod template of a service or worker, as YAML. Input: root, item. */}}
{{- define "billow.podTemplate" -}}
{{- $root := .root -}}
{{- $item := .item -}}
{{- $config := $item.config -}}
{{- $limits := dict -}}
{{- $terms := list -}}
{{- if $config.gpu -}}
  {{- $_ := set $limits $root.Values.gpu.resource 1 -}}
  {{- if $root.Values.gpu.timeSlicing.enabled -}}
    {{- $terms = append $terms (dict "key" $root.Values.gpu.timeSlicing.nodeLabel "operator" "In" "values" (list (printf "slices-%d" (int $config.slices)))) -}}
  {{- end -}}
{{- end -}}
{{- $resources := mergeOverwrite (deepCopy $config.resources) (dict "limits" $limits) -}}
metadata:
  labels:
    {{- include "billow.labels" (dict "root" $root "component" $item.component) | nindent 4 }}
    billow/role: {{ $item.role }}
    billow/metrics: "true"
    {{- if $config.database }}
    billow/database: "true"
    {{- end }}
  annotations:
    checksum/settings: {{ $item.env | toJson | sha256sum }}
    {{- with (include "billow.givenSecrets" (dict "root" $root "user" $item.user "database" $config.database)) }}
    # A process reads them once, when it starts.
    checksum/secrets: {{ . | sha256sum }}
    {{- end }}
    {{- with $config.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "billow.fullname" $root }}-{{ $item.component }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- include "billow.pullSecrets" $root | nindent 2 }}
  terminationGracePeriodSeconds: {{ $config.terminationGracePeriodSeconds }}
  {{- with (include "billow.priorityClass" (dict "root" $root "priority" $config.priority)) }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if and $config.gpu $root.Values.gpu.runtimeClassName }}
  runtimeClassName: {{ $root.Values.gpu.runtimeClassName }}
  {{- end }}
  securityContext:
    {{- include "billow.podSecurity" (dict "root" $root) | nindent 4 }}
  {{- include "billow.placement" (dict "root" $root "pool" $config.pool "terms" $terms) | nindent 2 }}
  {{- include "billow.spread" (dict "root" $root "component" $item.component "spread" $config.spread) | nindent 2 }}
  {{- if and $item.weights $root.Values.models.pull.enabled }}
  initContainers:
    {{- include "billow.puller" . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $item.role }}
      image: {{ $item.image | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      {{- with $config.command }}
      command: {{ toJson . }}
      {{- end }}
      envFrom:
        - configMapRef:
            name: {{ include "billow.fullname" $root }}-{{ $item.component }}
        {{- range $config.envFromSecrets }}
        - secretRef: {name: {{ . }}}
        {{- end }}
      {{- with (include "billow.secretEnvironment" (dict "root" $root "user" $item.user "database" $config.database)) }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      ports:
        - {name: metrics, containerPort: {{ $root.Values.metrics.port }}}
        {{- if $config.http.port }}
        - {name: http, containerPort: {{ $config.http.port }}}
        {{- end }}
      {{- include "billow.probes" (dict "root" $root "config" $config) | nindent 6 }}
      lifecycle:
        preStop:
          # Out of its Service first; then SIGTERM, on which it pulls no more and finishes what it has in hand.
          sleep: {seconds: {{ $config.drainSeconds }}}
      securityContext:
        {{- include "billow.containerSecurity" (dict "root" $root "own" true) | nindent 8 }}
      resources:
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        {{- include "billow.mounts" (dict "root" $root "role" $item.role) | nindent 8 }}
  volumes:
    {{- include "billow.volumes" (dict "root" $root "role" $item.role "weights" $item.weights) | nindent 4 }}
{{- end -}}

{{/* For a process of Go: the garbage collector works harder from 85 percent of the limit on. Input: memory quantity; empty for
a unit other than Mi and Gi. */}}
{{- define "billow.goMemory" -}}
{{- $units := dict "Mi" 1.0 "Gi" 1024.0 -}}
{{- $text := toString . -}}
{{- range $unit, $mebibytes := $units -}}
{{- if hasSuffix $unit $text }}{{ printf "%dMiB" (trimSuffix $unit $text | float64 | mulf $mebibytes 0.85 | int) }}{{ end -}}
{{- end -}}
{{- end -}}
