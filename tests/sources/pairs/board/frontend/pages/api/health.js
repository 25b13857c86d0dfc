export default function handler(_request, response) {
  response.status(200).json({ secret: process.env.SESSION_SECRET.length });
}
