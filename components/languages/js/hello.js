// Speaks HTTP itself, in JavaScript: answers each request with its path. For componentize-js, which has `fetch`
// events, Response and all of the web's library.

addEventListener("fetch", (event) => {
    const { pathname, search } = new URL(event.request.url);
    event.respondWith(new Response(`Hello from JavaScript at ${pathname}${search}\n`, {
        headers: { "content-type": "text/plain; charset=utf-8" },
    }));
});
