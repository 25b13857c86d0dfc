export default function handler(request, response) { response.json({ status: "ok" }); }
