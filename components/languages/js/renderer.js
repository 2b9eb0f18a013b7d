// The renderer in JavaScript: a line of text as a picture.

export const renderer = {
    render(text) {
        const escaped = text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
        return utf8(`<svg xmlns="http://www.w3.org/2000/svg" height="24"><text y="18">${escaped}</text></svg>`);
    },
};

// QuickJS has no TextEncoder.
function utf8(text) {
    const bytes = unescape(encodeURIComponent(text));
    return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}
