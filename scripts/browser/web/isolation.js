// Threads need a page that is isolated by two headers. Static hosts seldom send them; a service worker adds them, and
// keeps the page's files, so that it opens without a network.

// Returns false where the page is about to load again, now through the service worker.
export async function isolate() {
  if (!("serviceWorker" in navigator)) return true; // without https: one thread, and no copy of the files
  try {
    await navigator.serviceWorker.register("service_worker.js", { updateViaCache: "none" });
  } catch {
    return true; // private windows may refuse
  }
  if (self.crossOriginIsolated || sessionStorage.getItem("isolating")) return true; // once is enough
  await navigator.serviceWorker.ready;
  sessionStorage.setItem("isolating", "yes");
  location.reload();
  return false;
}
