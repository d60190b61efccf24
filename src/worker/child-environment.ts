/** Which variables of ours a worker sees. An allow-list: API keys and cloud credentials stay out of the process that runs models. */

const NAMES = new Set([
  "HOME",
  "LANG",
  "LD_LIBRARY_PATH",
  "LOGNAME",
  "PATH",
  "SHELL",
  "TERM",
  "TMPDIR",
  "TZ",
  "USER",
  "VIRTUAL_ENV",
  "CURL_CA_BUNDLE",
  "REQUESTS_CA_BUNDLE",
  "SSL_CERT_DIR",
  "SSL_CERT_FILE",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
]);

const PREFIXES = [
  "CUDA",
  "NVIDIA_",
  "NCCL_",
  "CUBLAS_",
  "CUDNN_",
  "HF_",
  "HUGGINGFACE_",
  "TRANSFORMERS_",
  "DIFFUSERS_",
  "HIP_",
  "ROCR_",
  "ROCM_",
  "HSA_",
  "AMD_",
  "MIOPEN_",
  "ZE_",
  "SYCL_",
  "ONEAPI_",
  "TORCH",
  "PYTORCH_",
  "TRITON_",
  "OMP_",
  "GOMP_",
  "MKL_",
  "KMP_",
  "LC_",
  "XDG_",
  "OTEL_",
  "LATENTCAST_WORKER_",
];

export function childEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  extra: Readonly<Record<string, string>>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) continue;
    if (NAMES.has(name) || PREFIXES.some((prefix) => name.startsWith(prefix))) kept[name] = value;
  }
  return { ...kept, ...extra };
}
