import type { ReactNode, SVGProps } from "react";

/** Line icons on a 24-unit grid. They only accompany words or labels, so assistive technology skips them. */
function icon(children: ReactNode) {
  return function Icon(props: SVGProps<SVGSVGElement>) {
    return (
      <svg className="icon" viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth="1.9" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" {...props}>
        {children}
      </svg>
    );
  };
}

export const PlusIcon = icon(<path d="M12 5v14M5 12h14" />);
export const CloseIcon = icon(<path d="m6 6 12 12M18 6 6 18" />);
export const SearchIcon = icon(<><circle cx="11" cy="11" r="6.5" /><path d="m16 16 4.5 4.5" /></>);
export const EditIcon = icon(<><path d="M4 20h4L19.5 8.5a2.1 2.1 0 0 0-3-3L5 17v3" /><path d="m14.5 7.5 3 3" /></>);
export const TrashIcon = icon(<><path d="M4 7h16M9.5 7V4.5h5V7M6.5 7l.8 12.5h9.4L17.5 7" /><path d="M10.3 11v5M13.7 11v5" /></>);
export const SendIcon = icon(<path d="M12 19V5m-6.5 6.5L12 5l6.5 6.5" />);
export const StopIcon = icon(<rect x="7" y="7" width="10" height="10" rx="2" fill="currentColor" stroke="none" />);
export const HistoryIcon = icon(<><path d="M4 12a8 8 0 1 0 2.6-5.9L4 8.5" /><path d="M4 4v4.5h4.5M12 8v4.3l2.8 1.7" /></>);
export const SunIcon = icon(<><circle cx="12" cy="12" r="4" /><path d="M12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1" /></>);
export const MoonIcon = icon(<path d="M19.5 14.2A8 8 0 0 1 9.8 4.5a8 8 0 1 0 9.7 9.7Z" />);
export const SignOutIcon = icon(<><path d="M14 4.5H6.5v15H14" /><path d="M11 12h9.5m-3.2-3.2 3.2 3.2-3.2 3.2" /></>);
export const ToolIcon = icon(<path d="M14.7 6.3a4 4 0 0 0-5.2 5.2L4 17l3 3 5.5-5.5a4 4 0 0 0 5.2-5.2L15 12l-2.5-.5L12 9l2.7-2.7Z" />);
export const CheckIcon = icon(<path d="m5 12.5 4.5 4.5L19 7.5" />);
export const ChevronIcon = icon(<path d="m9 6 6 6-6 6" />);
export const RetryIcon = icon(<><path d="M20 12a8 8 0 1 1-2.6-5.9L20 8.5" /><path d="M20 4v4.5h-4.5" /></>);
export const OfflineIcon = icon(<><path d="M5 12.6a10 10 0 0 1 3.7-2.3M2 9.3A15 15 0 0 1 6.4 6.6M22 9.3A15 15 0 0 0 11 5.1M19 12.6a10 10 0 0 0-4-2.4M8.5 16a5 5 0 0 1 7 0" /><path d="M12 19.5h.01M3.5 3.5l17 17" /></>);
export const AlertIcon = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M12 8v4.8M12 16h.01" /></>);
export const SparkIcon = icon(<path d="M12 4c.7 4.5 3 6.9 7.5 8-4.5 1.1-6.8 3.5-7.5 8-.7-4.5-3-6.9-7.5-8C9 10.9 11.3 8.5 12 4Z" fill="currentColor" stroke="none" />);
export const ListIcon = icon(<><path d="M10 7h10M10 12h10M10 17h10" /><path d="m4 6.8 1 1 1.7-1.8M4 11.8l1 1 1.7-1.8M4 16.8l1 1 1.7-1.8" /></>);
export const ChatIcon = icon(<path d="M5 5.5h14a1.5 1.5 0 0 1 1.5 1.5v8a1.5 1.5 0 0 1-1.5 1.5h-7L7 20.5v-4H5A1.5 1.5 0 0 1 3.5 15V7A1.5 1.5 0 0 1 5 5.5Z" />);

/** A boat at its berth. */
export function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect className="logo-ground" width="32" height="32" rx="9" />
      <path className="logo-sail" d="M16.7 5.5v13h8.1C24 13 21.2 8.5 16.7 5.5Z" />
      <path className="logo-jib" d="M14.9 9.5c-3 2.1-5.2 5.2-6.2 9h6.2v-9Z" />
      <path className="logo-hull" d="M6.5 20.7h19c-.9 3.3-3.2 5.3-6.4 5.3h-6.2c-3.2 0-5.5-2-6.4-5.3Z" />
    </svg>
  );
}
